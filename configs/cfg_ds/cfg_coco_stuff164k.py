# COCO-Stuff 164k val2017: 171 things and stuff, 5000 pictures.
_base_ = "../base_config.py"

model = dict(class_file="configs/cls_coco_stuff.txt", options=dict(scale=(1334, 896)))
test_dataloader = dict(
    dataset=dict(
        type="COCOStuffDataset",
        data_root="coco_stuff164k",
        data_prefix=dict(img_path="images/val2017", seg_map_path="annotations/val2017"),
    )
)
