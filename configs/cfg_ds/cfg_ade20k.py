# ADE20K val: 150 classes, 2000 pictures.
_base_ = "../base_config.py"

model = dict(class_file="configs/cls_ade20k.txt", options=dict(scale=(2016, 672)))
test_dataloader = dict(
    dataset=dict(
        type="ADE20KDataset",
        data_root="ade/ADEChallengeData2016",
        data_prefix=dict(img_path="images/validation", seg_map_path="annotations/validation"),
    )
)
