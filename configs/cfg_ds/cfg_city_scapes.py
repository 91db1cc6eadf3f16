# Cityscapes val: 19 classes, 500 wide pictures, whose global view is their left and right half.
_base_ = "../base_config.py"

model = dict(
    class_file="configs/cls_city_scapes.txt", options=dict(scale=(2688, 1344), points_per_side=36, global_views=2)
)
test_dataloader = dict(
    dataset=dict(
        type="CityscapesDataset",
        data_root="cityscapes",
        data_prefix=dict(img_path="leftImg8bit/val", seg_map_path="gtFine/val"),
    )
)
